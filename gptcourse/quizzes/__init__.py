"""Five questions for each chapter: `quiz.attention` of the module `quiz`, with every option explained."""
