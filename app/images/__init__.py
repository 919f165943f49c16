"""Image files decoded in processes of their own, which can be killed, within budgets.

image_files  a file's bytes as an upright RGB image, or the reason why not
samples      what the samples of a file mean
budget       the processor time that the images of one request may take
turns        whose image is next
worker       the process that decodes, without torch
process      this end of a worker
decoder      all workers together
"""
