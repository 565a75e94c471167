"""The parts of the Whisper family: building, text and the decoder."""
