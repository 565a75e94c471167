"""The process that owns torch and the loaded models, and its client."""
