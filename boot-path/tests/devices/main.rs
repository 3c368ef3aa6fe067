//! What the loader tells the CPU and its devices.

mod descriptors;
