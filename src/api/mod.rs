//! Admin HTTP and gRPC.
