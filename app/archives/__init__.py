"""From an uploaded archive to a pack of checked, labelled images, with bounded memory.

members      every file of a zip, tar, tar.gz or tar.zst, or the problem with the archive
zips, tars   the two formats; entries has what they share
layouts      which label an image has, by folder or manifest
checks       images decoded in threads; examiner takes the large ones to a child process
packs        the accepted files end to end in one file
uploads      all of it: `with uploads.received(file, path, limits) as upload`
"""
