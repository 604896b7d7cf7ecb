"""The cells side by side on one data set, from training to the device, and the page of it."""
