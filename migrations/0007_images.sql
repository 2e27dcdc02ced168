-- The images that stand beside the text of a user's message, in their order: [{"url": …, "detail": …}, …]. Null where there
-- are none, which is most messages.
alter table messages add column images jsonb;
