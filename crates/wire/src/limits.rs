//! The bounds of what may be sent. Lengths are in bytes of UTF-8 unless the name says otherwise.

/// An e-mail address.
pub const EMAIL_BYTES_MAX: usize = 255;
/// A password, shortest.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// A password, longest.
pub const PASSWORD_BYTES_MAX: usize = 128;
/// The name of a project or prompt, and the title of a conversation.
pub const NAME_CHARS_MAX: usize = 255;
/// The description of a project.
pub const DESCRIPTION_CHARS_MAX: usize = 1_000;
/// The content of a prompt.
pub const PROMPT_BYTES_MAX: usize = 32 * 1024;
/// The content of a message.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024;
/// The images of a message.
pub const IMAGES_MAX: usize = 8;
/// Their addresses together, where an image may stand itself.
pub const IMAGES_BYTES_MAX: usize = 64 * 1024;
/// What settings hold of the caller's own JSON, written compactly: tools, response format and extra parameters together.
pub const SETTINGS_BYTES_MAX: usize = 64 * 1024;
/// How deep values may stand within values in that JSON.
pub const SETTINGS_DEPTH_MAX: usize = 64;
/// The functions that a model is told of.
pub const TOOLS_MAX: usize = 128;
/// The name of a function, or of an answer's schema.
pub const FUNCTION_NAME_CHARS_MAX: usize = 64;
/// The label of a prompt's version.
pub const LABEL_CHARS_MAX: usize = 64;
/// An access token, refresh token or API key; ours have at most some 400 bytes.
pub const CREDENTIAL_BYTES_MAX: usize = 4096;
/// A request's body.
pub const BODY_BYTES_MAX: usize = 128 * 1024;
/// The headers of an HTTP request, names and values together, each with its line's four bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How many they may be.
pub const HEADERS_MAX: usize = 64;
/// Path and query of an HTTP request.
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// Requests of one user that a process of a service works on at a time.
pub const REQUESTS_OF_ONE_MAX: usize = 64;
/// What the broker carries in one message; answers may be larger than requests.
pub const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// An answer of a model.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Events that wait for the reader of a stream.
pub const STREAM_FRAMES_MAX: usize = 64;
/// Their bytes together; a longer one waits alone.
pub const STREAM_BYTES_MAX: usize = 256 * 1024;
/// A message to a socket, whether it comes in one frame or in several.
pub const SOCKET_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Turns that are followed over one socket at a time, those that it sends included.
pub const SOCKET_TURNS_MAX: usize = 64;
/// Conversations that are watched over one socket.
pub const SOCKET_CONVERSATIONS_MAX: usize = 64;
/// Requests over one socket that are under way at a time, sends excepted.
pub const SOCKET_REQUESTS_MAX: usize = 64;
/// Pings and pongs that a socket takes between two heartbeats.
pub const SOCKET_CONTROLS_MAX: u32 = 100;
/// For the token, when a socket was opened without one, in seconds.
pub const SOCKET_TOKEN_TIME_S: u32 = 5;
/// An idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// The name of a model.
pub const MODEL_BYTES_MAX: usize = 255;
/// Calls to a provider for one turn, over all processes and restarts.
pub const ATTEMPTS_MAX: i16 = 3;
/// Entries of a list's page, unless asked for less.
pub const PAGE_ENTRIES_MAX: u32 = 1_000;
