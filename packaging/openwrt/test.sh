#!/bin/sh
# The test that the packages feed runs with the installed package: name and version are arguments.

case "$1" in
socku)
	socku --version | grep -F "socku $2"
	;;
esac
