"""The command line `tangent`: `program` puts it together, a file has each group of commands."""
