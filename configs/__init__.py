"""The YAML files of scratchlab: Hydra groups, found as pkg://scratchlab.configs."""
