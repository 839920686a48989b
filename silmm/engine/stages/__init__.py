"""The stages of Figure 2: functions from tables to tables; each knows its component and no file."""
