"""The figures of the concepts, each computed or laid out by a module and written as SVG."""
