"""Journalled uploads and downloads that survive crashes, lost networks and restarts.

`queue.TransferQueue` is the interface, `engine` the worker loop, `journal` the SQLite file, `uploads` and `downloads`
the two `TransferMethod`s of `model`.
"""
