"""Models of the Hugging Face hub: a catalogue, downloads, and the cache on this machine."""
