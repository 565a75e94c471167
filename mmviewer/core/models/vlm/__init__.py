"""What vision-language models that read image and text as one sequence share."""
