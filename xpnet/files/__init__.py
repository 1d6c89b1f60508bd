"""Bytes on disk, which know nothing of networks.

- `safetensors_files`: arrays and a description, read without trust
- `json_tree`: values as JSON and back, with tags, and guards on reading
- `atomic`: a file is written whole or not at all
- `file_lock`: who is at a file, as long as its process lives
- `append_log`: records in a file that grows
- `checkpoint_folder`: a folder of such files, of which some are kept
"""
