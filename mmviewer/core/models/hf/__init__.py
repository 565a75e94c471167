"""What families of transformers share: finding files, loading safely, text, pixels, decoding."""
