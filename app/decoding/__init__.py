"""Image files decoded in processes of their own, which can be killed, within budgets.

budget   the processor time that the images of one request may take
turns    whose image is next
worker   the process that decodes, without torch
process  this end of a worker
decoder  all workers together
"""
