"""From an uploaded archive to a pack of checked, labelled images, with bounded memory.

members       every file of a zip, tar, tar.gz or tar.zst, or the problem with the archive
zips, tars    the two formats; entries has what they share
layouts       an image's label, from its folders
manifests     an image's label, from a table; tables has their rows
image_checks  images decoded, in the order of the archive
collection    every file with its outcome
label_warnings  labels that may not be as meant
joined_archives  the images of an added archive, read beside those that are held
packs         the accepted files end to end in one file
uploads       all of it: `with uploads.receive(file, path, limits) as upload`
"""
