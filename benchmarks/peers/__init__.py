"""One file per library that ranvier is compared with, and the processes they run in.

A file holds one function per case, named as the op is: it takes the case's arrays and options by keyword and
returns a function without arguments that does the work once and returns the answer. Setting up (converting,
compiling, building a model) belongs before the return, outside the timing. Where the answer takes more than
one call, the returned object has an ``answer`` method besides.
"""
