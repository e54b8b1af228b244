"""The web app: a Streamlit page over `realface.Detector`, and what starts it."""
