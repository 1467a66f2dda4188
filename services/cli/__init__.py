"""The command `streamrec`: the one place where the folders of services meet."""
