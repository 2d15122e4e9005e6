"""The packages: those that are found, and configs/, which is installed as scratchlab.configs."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["scratchlab", "scratchlab.*"]), "scratchlab.configs"])
