"""mmviewer: see what multimodal transformers do."""

__version__ = "0.1.0"
