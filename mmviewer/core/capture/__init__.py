"""Recording attention weights at named capture points."""
