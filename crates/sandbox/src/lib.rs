//! The providers' other side: plays Meta, sends signed webhooks, fails on demand.
