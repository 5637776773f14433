//! Documents written with their attachments: responses, stored objects, and what is left after failures. Responses are compared with the store's own.

mod bodies;
mod bulk;
mod connections;
mod inline;
mod odd;
mod present;
mod related;
mod replicated;
mod world;
