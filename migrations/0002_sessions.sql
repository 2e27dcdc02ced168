-- A session is a family of refresh tokens. Its first token is its root: revoked there, the whole session is.
alter table refresh_tokens add column used_at timestamptz;   -- when its successor was made; absent: not used yet
drop index refresh_tokens_of_family;
