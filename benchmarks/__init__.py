"""What quanma costs, as ratios to what bounds it or stands beside it, each taken in one run: `make bench`."""
