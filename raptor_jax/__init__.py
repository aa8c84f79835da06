"""Trains a population of quadrotor teachers, one SAC agent for each drone, in one JAX program."""
