//! What waits or has more than one step; reactions: what each event causes.
