"""Training where the data lies: on a machine that never talks to the service.

card          the space's card is opened, and checked
images        a folder or an archive becomes training images, as an upload does
training      `train(LocalTraining(...))`, from card and images to a component's file
commands      the same as plain values, for the command line

Loads nothing of the service but the reading of images: no database, no web framework.
"""
