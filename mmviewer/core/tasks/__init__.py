"""What a user asks of any model that can: classify, generate, embed."""
