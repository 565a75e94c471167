"""Where items lie: embeddings and their projections."""
