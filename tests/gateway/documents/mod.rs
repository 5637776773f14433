//! Documents that clients write with their attachments inside: what the client is told, what is stored where, and what is
//! left when something fails. Answers are compared with those of the store itself.

mod bodies;
mod bulk;
mod connections;
mod inline;
mod odd;
mod present;
mod related;
mod replicated;
mod world;
