"""What a space is: gaps, evenness, hubs, retrieval, the honesty of a map, agreement of two models."""
