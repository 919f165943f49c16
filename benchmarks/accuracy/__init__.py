"""The evaluation harness: methods x protocols x images, as in the papers; `make bench-accuracy`."""
