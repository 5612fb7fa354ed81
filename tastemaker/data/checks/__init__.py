"""The rules that shop data must keep, and the report of every row that breaks one."""
