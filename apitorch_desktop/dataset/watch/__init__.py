"""Watched folders: photos that arrive are classified once, and their answers written into a table or acted on.

A journal holds each photo's answer and what was done about it, so that a watch goes on where it was ended, in whatever way.
"""
