"""The questions of each chapter."""
