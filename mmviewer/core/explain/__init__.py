"""From captured weights and gradients to maps over the input."""
