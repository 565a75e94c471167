"""Session state, settings."""
