"""The data folder: the blobs that rows name, and what keeps the folder ours and private.

blobs, component_files           files under keys
intents, sweep, quarantine       files that no row names: noted, removed with a proof, or set aside
erasure                          bytes of deleted images, overwritten
folders                          listed and synced beside other processes
folder_identity, folder_lock     one database to a folder, and one user where that is needed
private_folder                   closed to other users
"""
