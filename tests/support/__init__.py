"""What tests share: commands as processes, tiny models, tiny data of every kind."""
