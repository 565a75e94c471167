"""The parts of the OpenCLIP family: sources, text, vision points and the captioning decoder."""
