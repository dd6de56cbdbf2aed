"""What all reports share: number formats, tables, interactive and static figures, and the frame of pages."""
