"""Is a payee a person or a company?"""
