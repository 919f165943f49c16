"""The structure of the code in figures: rooms, arrows, lines, and modules that a request enters."""
