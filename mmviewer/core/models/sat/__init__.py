"""Show, Attend and Tell: a convolutional encoder, and an LSTM that looks at one place after the other."""
