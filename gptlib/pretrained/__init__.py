"""Models that others have trained, read into our own `GPTModel`."""
