"""The workbench's parts, one per subject: library, models, sequences, space."""
